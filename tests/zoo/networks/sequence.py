"""Networks on sequences: recurrent and convolutional."""

import torch
import torch.nn.functional as F
from torch import nn

from zoo import ids, mask, network

STEPS = {"B": (2, 3), "T": (9, 14)}


class TemporalBlock(nn.Module):
    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=self.pad, dilation=dilation)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=self.pad, dilation=dilation)
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x):
        out = F.relu(self.conv1(x)[:, :, : -self.pad])
        out = F.relu(self.conv2(out)[:, :, : -self.pad])
        return F.relu(out + self.downsample(x))


@network(input=("B", 6, "T"), sizes=STEPS)
def temporal_convolutions():
    return nn.Sequential(TemporalBlock(6, 12, 1), TemporalBlock(12, 12, 2), nn.Conv1d(12, 3, 1))


class GatedConv(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.dilation = dilation
        self.conv = nn.Conv1d(channels, 2 * channels, 2, dilation=dilation)
        self.residual = nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, channels, 1)

    def forward(self, x):
        out = self.conv(F.pad(x, (self.dilation, 0)))
        filtered, gate = out.chunk(2, dim=1)
        out = torch.tanh(filtered) * torch.sigmoid(gate)
        return x + self.residual(out), self.skip(out)


class WaveNet(nn.Module):
    def __init__(self, channels=8, layers=4):
        super().__init__()
        self.enter = nn.Conv1d(1, channels, 1)
        self.layers = nn.ModuleList([GatedConv(channels, 2**i) for i in range(layers)])
        self.out = nn.Sequential(nn.ReLU(), nn.Conv1d(channels, channels, 1), nn.ReLU(), nn.Conv1d(channels, 16, 1))

    def forward(self, wave):
        x = self.enter(wave)
        total = torch.zeros_like(x)
        for layer in self.layers:
            x, skip = layer(x)
            total = total + skip
        return self.out(total)


@network(wave=("B", 1, "T"), sizes={"B": (2, 1), "T": (32, 41)})
def wavenet():
    return WaveNet()


class GruClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(6, 8, num_layers=2, batch_first=True, dropout=0.1)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.fc(out[:, -1, :])


@network(x=("B", "T", 6), sizes=STEPS, frozen="T")
def gru_classifier():
    return GruClassifier()


class BiLstmTagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, tokens):
        out, _ = self.lstm(self.embedding(tokens))
        return self.fc(out)


@network(tokens=ids("B", "T"), sizes=STEPS, frozen="T")
def bilstm_tagger():
    return BiLstmTagger()


class ProjectedLstm(nn.Module):
    """An acoustic model: states are projected, the output ones and the last ones are used."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 10, num_layers=2, proj_size=4, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        out, (h, c) = self.lstm(x)
        return F.log_softmax(self.fc(out), dim=-1), h, c


@network(x=("B", "T", 6), sizes=STEPS, frozen="T")
def projected_lstm():
    return ProjectedLstm()


class WithLosses(nn.Module):
    """What a training step computes: the losses beside the scores."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 5)
        self.classes = nn.CrossEntropyLoss(weight=torch.rand(5) + 0.5, label_smoothing=0.1, ignore_index=3)
        self.margin = nn.MultiMarginLoss()
        self.alike = nn.TripletMarginLoss(swap=True)

    def forward(self, x, target):
        scores = self.fc(x).flatten(0, 1)
        target = target.flatten()
        triplet = self.alike(x[:, 0], x[:, 1], x[:, 2])
        return scores, self.classes(scores, target), self.margin(scores, target) + triplet


@network(x=("B", "T", 6), target=ids("B", "T", below=5), sizes=STEPS)
def with_losses():
    return WithLosses()


class LstmLanguageModel(nn.Module):
    def __init__(self, tokens=50, dim=12):
        super().__init__()
        self.encoder = nn.Embedding(tokens, dim)
        self.rnn = nn.LSTM(dim, dim, 2)
        self.decoder = nn.Linear(dim, tokens)
        self.decoder.weight = self.encoder.weight

    def forward(self, tokens, h, c):
        out, (h, c) = self.rnn(self.encoder(tokens), (h, c))
        return F.log_softmax(self.decoder(out), dim=-1), h, c


@network(tokens=ids("T", "B"), h=(2, "B", 12), c=(2, "B", 12), sizes=STEPS, frozen="T")
def lstm_language_model():
    return LstmLanguageModel()


class GruWithState(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 7, bidirectional=True)

    def forward(self, x, h0):
        y, h = self.gru(x, h0)
        return {"y": y, "h": h}


@network(x=("T", "B", 5), h0=(2, "B", 7), sizes=STEPS, frozen="T")
def gru_with_state():
    return GruWithState()


class RnnRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 6, nonlinearity="relu", batch_first=True)
        self.tanh = nn.RNN(6, 6, batch_first=True)

    def forward(self, x):
        y, _ = self.rnn(x)
        y, h = self.tanh(y)
        return y, h.squeeze(0)


@network(x=("B", "T", 4), sizes=STEPS, frozen="T")
def elman_rnn():
    return RnnRelu()


class CellLoop(nn.Module):
    """A decoder that steps a cell by hand."""

    def __init__(self, steps=4):
        super().__init__()
        self.steps = steps
        self.cell = nn.LSTMCell(6, 8)
        self.gru_cell = nn.GRUCell(8, 6)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 8, device=x.device)
        c = torch.zeros(x.shape[0], 8, device=x.device)
        outputs = []
        for _ in range(self.steps):
            h, c = self.cell(x, (h, c))
            x = self.gru_cell(h, x)
            outputs.append(x)
        return torch.stack(outputs, dim=1)


@network(x=("B", 6), sizes={"B": (2, 3)})
def cells_by_hand():
    return CellLoop()


class Seq2Seq(nn.Module):
    """A GRU encoder and an attending GRU decoder with a mask over the source."""

    def __init__(self, tokens=40, dim=12):
        super().__init__()
        self.source = nn.Embedding(tokens, dim)
        self.target = nn.Embedding(tokens, dim)
        self.encoder = nn.GRU(dim, dim, batch_first=True)
        self.decoder = nn.GRU(dim, dim, batch_first=True)
        self.score = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(2 * dim, tokens)

    def forward(self, source, target, source_mask):
        memory, state = self.encoder(self.source(source))
        y, _ = self.decoder(self.target(target), state)
        scores = torch.bmm(self.score(y), memory.transpose(1, 2))
        scores = scores.masked_fill(~source_mask.unsqueeze(1), float("-inf"))
        context = torch.bmm(F.softmax(scores, dim=-1), memory)
        return self.out(torch.cat([y, context], dim=-1))


@network(
    source=ids("B", "S", below=40),
    target=ids("B", "T", below=40),
    source_mask=mask("B", "S"),
    sizes={"B": (2, 3), "S": (7, 11), "T": (5, 6)},
    frozen="ST",
)
def seq2seq_attention():
    return Seq2Seq()


class Crnn(nn.Module):
    """Reads text in images: convolutions, then a bidirectional LSTM over the columns."""

    def __init__(self, classes=20):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(8, 16, 3, 1, 1), nn.BatchNorm2d(16),
            nn.ReLU(), nn.MaxPool2d((2, 1), (2, 1)),
        )  # fmt: skip
        self.rnn = nn.LSTM(16 * 4, 10, bidirectional=True)
        self.fc = nn.Linear(20, classes)

    def forward(self, image):
        x = self.cnn(image)
        batch, channels, height, width = x.size()
        x = x.permute(3, 0, 1, 2).reshape(width, batch, channels * height)
        x, _ = self.rnn(x)
        return self.fc(x).log_softmax(2)


@network(image=("B", 1, 16, 24), sizes={"B": (2, 3)})
def crnn_ocr():
    return Crnn()


class BagClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(50, 8, mode="mean")
        self.fc = nn.Linear(8, 4)

    def forward(self, tokens):
        return self.fc(self.embedding(tokens))


@network(tokens=ids("B", 6), sizes={"B": (2, 3)})
def bag_of_words():
    return BagClassifier()


class AttentionPooling(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, 6), nn.Tanh(), nn.Linear(6, 1))
        self.fc = nn.Linear(dim, 3)

    def forward(self, x, lengths):
        steps = torch.arange(x.size(1), device=x.device)
        outside = steps[None, :] >= lengths[:, None]
        weights = self.score(x).squeeze(-1).masked_fill(outside, -1e9).softmax(dim=1)
        return self.fc(torch.einsum("bt,btd->bd", weights, x)), weights


@network(x=("B", "T", 8), lengths=ids("B", below=9), sizes=STEPS)
def attention_pooling():
    return AttentionPooling()


class KeypointGcn(nn.Module):
    """Spatial graph convolutions over joints and temporal ones over frames (ST-GCN)."""

    def __init__(self, joints=5, channels=6):
        super().__init__()
        self.register_buffer("adjacency", torch.rand(3, joints, joints))
        self.importance = nn.Parameter(torch.ones(3, joints, joints))
        self.gcn = nn.Conv2d(2, 3 * channels, 1)
        self.tcn = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, (3, 1), padding=(1, 0)), nn.BatchNorm2d(channels)
        )
        self.residual = nn.Conv2d(2, channels, 1)
        self.fc = nn.Linear(channels, 4)

    def forward(self, x):
        n, _, t, v = x.shape
        y = self.gcn(x).view(n, 3, -1, t, v)
        y = torch.einsum("nkctv,kvw->nctw", y, self.adjacency * self.importance)
        y = F.relu(self.tcn(y.contiguous()) + self.residual(x))
        return self.fc(y.mean(dim=(2, 3)))


@network(x=("B", 2, "T", 5), sizes=STEPS)
def keypoint_gcn():
    return KeypointGcn()
