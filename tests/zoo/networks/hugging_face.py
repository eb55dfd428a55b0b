"""Tiny configurations of Hugging Face's transformers with random weights."""

import torch
import transformers
from torch import nn

from zoo import ids, mask, network

TOKENS = {"B": (2, 3), "T": (9, 14)}
FORMS = ("pt2", "dynamic", "traced")
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


class Masked(nn.Module):
    """A text model: tokens and what to look at."""

    def __init__(self, model, field="last_hidden_state", **flags):
        super().__init__()
        self.model, self.field, self.flags = model, field, flags

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask.long(), **self.flags)[self.field]


class Causal(nn.Module):
    """A language model with its mask spelled out: the one that transformers makes can't be exported."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        steps = input_ids.shape[1]
        seen = torch.ones(steps, steps, dtype=torch.bool).tril() & attention_mask[:, None, None, :]
        bias = torch.where(seen, 0.0, -1e9)
        return self.model(input_ids=input_ids, attention_mask=bias, use_cache=False)["logits"]


class Single(nn.Module):
    """A model of one input."""

    def __init__(self, model, field="last_hidden_state", **flags):
        super().__init__()
        self.model, self.field, self.flags = model, field, flags

    def forward(self, x):
        return self.model(x, **self.flags)[self.field]


def text(forms=FORMS):
    return network(input_ids=ids("B", "T"), attention_mask=mask("B", "T"), sizes=TOKENS, most=32, forms=forms)


@text()
def hf_bert():
    config = transformers.BertConfig(**SMALL, max_position_embeddings=32)
    return Masked(transformers.BertForTokenClassification(config), "logits")


@text()
def hf_distilbert():
    config = transformers.DistilBertConfig(dim=16, n_layers=2, n_heads=2, hidden_dim=32, vocab_size=50)
    return Masked(transformers.DistilBertModel(config))


@text()
def hf_roberta():
    config = transformers.RobertaConfig(**SMALL, max_position_embeddings=40)
    return Masked(transformers.RobertaForSequenceClassification(config), "logits")


@text()
def hf_mobilebert():
    config = transformers.MobileBertConfig(
        **SMALL | {"num_attention_heads": 2}, embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16
    )
    return Masked(transformers.MobileBertModel(config))


@text()
def hf_electra():
    return Masked(transformers.ElectraModel(transformers.ElectraConfig(**SMALL, embedding_size=8)))


@text()
def hf_albert():
    return Masked(transformers.AlbertModel(transformers.AlbertConfig(**SMALL, embedding_size=8)))


@text()
def hf_t5_encoder():
    config = transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    return Masked(transformers.T5EncoderModel(config))


@text()
def hf_gpt2():
    config = transformers.GPT2Config(vocab_size=50, n_positions=32, n_embd=16, n_layer=2, n_head=2, use_cache=False)
    return Causal(transformers.GPT2LMHeadModel(config))


@text()
def hf_llama():
    config = transformers.LlamaConfig(**SMALL, num_key_value_heads=1, max_position_embeddings=32, use_cache=False)
    return Causal(transformers.LlamaForCausalLM(config))


@network(x=("B", 3, 16, 16), sizes={"B": (2, 3)}, forms=FORMS)
def hf_vit():
    config = transformers.ViTConfig(**{k: v for k, v in SMALL.items() if k != "vocab_size"}, image_size=16, patch_size=4)
    return Single(transformers.ViTForImageClassification(config), "logits")


@network(x=("B", 3, 16, 16), sizes={"B": (2, 3)}, forms=FORMS)
def hf_clip_vision():
    config = transformers.CLIPVisionConfig(
        **{k: v for k, v in SMALL.items() if k != "vocab_size"}, image_size=16, patch_size=4, projection_dim=8
    )
    return Single(transformers.CLIPVisionModelWithProjection(config), "image_embeds")


@network(x=("B", 3, 32, 32), sizes={"B": (2, 3)}, forms=FORMS)
def hf_resnet():
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    return Single(transformers.ResNetForImageClassification(config), "logits")


@network(x=("B", 3, 32, 32), sizes={"B": (2, 3)}, forms=FORMS)
def hf_swin():
    config = transformers.SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    return Single(transformers.SwinModel(config))


@network(x=("B", 8, 40), sizes={"B": (2, 3)}, forms=FORMS)
def hf_whisper_encoder():
    config = transformers.WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=8, max_source_positions=20,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=32, vocab_size=60, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    return Single(transformers.WhisperModel(config).encoder)


@network(x=("B", "T"), sizes={"B": (2, 1), "T": (400, 500)}, forms=FORMS)
def hf_wav2vec2():
    config = transformers.Wav2Vec2Config(
        **SMALL, conv_dim=(8, 8), conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, num_feat_extract_layers=2, do_stable_layer_norm=True, feat_extract_norm="layer",
    )  # fmt: skip
    return Single(transformers.Wav2Vec2ForCTC(config), "logits")
