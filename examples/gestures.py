"""Synthetic sign gestures as keypoint sequences: made-up signers, made-up signs, no recording of anybody.

A frame holds 89 points (x, y) in [0, 1] in the order 25 of the pose, 21 of each hand, 22 of the face; (0, 0) stands for
a point that was not seen, as in MediaPipe's output. A gloss is a path of the wrists, a hand shape that changes on the
way, a turn of the palm and a movement of the mouth; glosses of one category are signed at the same place.
"""

import dataclasses

import numpy as np

GLOSSES = 105
CATEGORIES = 10
POSE, HAND, FACE = 25, 21, 22
POINTS = POSE + 2 * HAND + FACE
FEATURES = 2 * POINTS

HEAD = np.array([0.50, 0.30])
SHOULDERS = np.array([[0.62, 0.50], [0.38, 0.50]])
HIPS = np.array([[0.57, 0.95], [0.43, 0.95]])
REST = np.array([[0.62, 0.85], [0.38, 0.85]])
# Left, right: fingers of the left hand fan out the other way.
SIDES = np.array([1.0, -1.0])


@dataclasses.dataclass
class Gloss:
    """How one sign is made. Arrays over [hand] are left, right."""

    place: np.ndarray  # [hand, xy], where the wrists are on average
    harmonics: np.ndarray  # [hand, 3, xy, sin/cos], the wrists' path around it
    curl: np.ndarray  # [begin/end, finger], 0 stretched .. 1 closed
    turn: np.ndarray  # [begin/end], of the palm, in radians
    mouth: np.ndarray  # [2], opening and how often
    two_handed: bool


def category_of(gloss):
    """The category of a gloss: consecutive glosses share one."""
    return gloss * CATEGORIES // GLOSSES


def gloss_of(index):
    """The sign number `index`, always the same."""
    generator = np.random.default_rng([1907, index])
    angle = 2 * np.pi * category_of(index) / CATEGORIES
    right = np.array([0.43 + 0.13 * np.cos(angle), 0.52 + 0.16 * np.sin(angle)])
    two_handed = bool(generator.random() < 0.5)
    left = np.array([1.0 - right[0], right[1]]) if two_handed else REST[0]
    sizes = np.array([0.055, 0.04, 0.025])[:, None, None]
    harmonics = generator.normal(size=(2, 3, 2, 2)) * sizes
    if not two_handed:
        harmonics[0] *= 0.05
    return Gloss(
        place=np.stack([left, right]),
        harmonics=harmonics,
        curl=generator.random((2, 5)),
        turn=generator.uniform(-1.2, 1.2, 2),
        mouth=np.array([generator.uniform(0, 0.025), generator.integers(1, 4)]),
        two_handed=two_handed,
    )


def hand_points(wrist, curl, turn, side):
    """Points `[T, 21, 2]` of a hand: the wrist, then four joints of each finger."""
    length = np.array([0.045, 0.065, 0.07, 0.065, 0.055])
    fan = side * np.radians([-50, -18, 0, 16, 32])
    points = [wrist]
    for finger in range(5):
        direction = fan[finger] + side * turn
        joint = wrist
        for bone in range(4):
            step = length[finger] * (0.55 if bone == 0 else 0.28)
            bend = direction + side * curl[:, finger] * bone * 0.75
            joint = joint + step * np.stack([np.sin(bend), -np.cos(bend)], axis=-1)
            points.append(joint)
    return np.stack(points, axis=1)


def pose_points(wrists, hands):
    """Points `[T, 25, 2]` of the upper body: head, shoulders, elbows, wrists, three points of each hand, hips."""
    frames = wrists[0].shape[0]
    ring = np.linspace(0, 2 * np.pi, 11, endpoint=False)
    head = HEAD + 0.05 * np.stack([np.sin(ring), -np.cos(ring)], axis=-1)
    elbows = [(SHOULDERS[s] + wrists[s]) / 2 + [0.05 * SIDES[s], 0.07] for s in (0, 1)]
    moving = [*elbows, *wrists]
    for joint in (17, 5, 2):
        moving += [hands[0][:, joint], hands[1][:, joint]]
    fixed = np.broadcast_to(np.concatenate([head, SHOULDERS]), (frames, 13, 2))
    hips = np.broadcast_to(HIPS, (frames, 2, 2))
    return np.concatenate([fixed, np.stack(moving, axis=1), hips], axis=1)


def face_points(opening):
    """Points `[T, 22, 2]`: an outline of the lips, brows and eyes."""
    ring = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    lips = np.stack(
        [
            np.broadcast_to(0.03 * np.cos(ring), (len(opening), 12)),
            (0.008 + opening[:, None]) * np.sin(ring) + 0.045,
        ],
        axis=-1,
    )
    across = np.linspace(-0.04, 0.04, 10)
    upper = np.stack([across, np.where(np.arange(10) % 2, -0.03, -0.02)], axis=-1)
    return HEAD + np.concatenate([lips, np.broadcast_to(upper, (len(opening), 10, 2))], axis=1)


def sample(index, frames, generator):
    """One performance `[frames, FEATURES]` (float32) of gloss `index` by a made-up signer.

    Signers differ in size, place, lean and how far they reach; performances in speed, rhythm and hand shape. Points
    tremble, single ones are lost, and now and then a whole hand is.
    """
    sign = gloss_of(index)
    begin, end = generator.uniform(0, 0.12), generator.uniform(0.88, 1)
    time = np.clip(begin + (end - begin) * np.linspace(0, 1, frames) ** generator.uniform(0.8, 1.25), 0, 1)
    waves = 2 * np.pi * np.outer(time, [1, 2, 3])
    basis = np.stack([np.sin(waves), np.cos(waves)], axis=-1)
    reach = generator.uniform(0.8, 1.2)
    wrists = [
        sign.place[s] + reach * np.einsum("tkc,kxc->tx", basis, sign.harmonics[s]) + generator.normal(0, 0.01, 2)
        for s in (0, 1)
    ]
    blend = time[:, None]
    curl = np.clip((1 - blend) * sign.curl[0] + blend * sign.curl[1] + generator.normal(0, 0.06, 5), 0, 1)
    turn = (1 - time) * sign.turn[0] + time * sign.turn[1] + generator.normal(0, 0.08)
    hands = [hand_points(wrists[s], curl, turn, SIDES[s]) for s in (0, 1)]
    opening = sign.mouth[0] * np.sin(np.pi * sign.mouth[1] * time) ** 2
    points = np.concatenate([pose_points(wrists, hands), *hands, face_points(opening)], axis=1)
    seen = _seen(frames, sign, generator)
    return _as_camera_sees(points, seen, generator).reshape(frames, FEATURES).astype(np.float32)


def _seen(frames, sign, generator):
    """Which points `[frames, POINTS]` the camera's model finds."""
    seen = generator.random((frames, POINTS)) > 0.01
    for s in (0, 1):
        hand = slice(POSE + s * HAND, POSE + (s + 1) * HAND)
        if s == 0 and not sign.two_handed and generator.random() < 0.7:
            seen[:, hand] = False
        elif generator.random() < 0.5:
            start = generator.integers(0, frames)
            seen[start : start + generator.integers(1, 1 + frames // 6), hand] = False
    return seen


def _as_camera_sees(points, seen, generator):
    """`points` scaled, leaned and moved as a whole, trembling, with what was not seen at (0, 0)."""
    lean = generator.normal(0, 0.04)
    rotation = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    centre = np.array([0.5, 0.5])
    placed = (points - centre) @ rotation.T * generator.uniform(0.9, 1.1) + centre + generator.normal(0, 0.02, 2)
    placed += generator.normal(0, 0.003, placed.shape)
    return np.where(seen[..., None], np.clip(placed, 0, 1), 0)


def batch(labels, frames, generator):
    """Performances `[len(labels), frames, FEATURES]`."""
    return np.stack([sample(label, frames, generator) for label in labels])
