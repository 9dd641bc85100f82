"""What sslrec-seq offers.  Import strings only: this module is read when names are listed."""

from __future__ import annotations

from sslrec_core import hookimpl
from sslrec_core.hooks import Offer


@hookimpl
def sslrec_scenarios() -> Offer:
    """The scenario that this package owns."""
    return {"seq": "sslrec_seq.data:Seq"}


@hookimpl
def sslrec_models() -> Offer:
    """Models of sequences."""
    return {
        "seq/bert4rec": "sslrec_seq.models.bert4rec:BERT4Rec",
        "seq/caser": "sslrec_seq.models.caser:Caser",
        "seq/cl4srec": "sslrec_seq.models.cl4srec:CL4SRec",
        "seq/coserec": "sslrec_seq.models.coserec:CoSeRec",
        "seq/duorec": "sslrec_seq.models.duorec:DuoRec",
        "seq/gru4rec": "sslrec_seq.models.gru4rec:GRU4Rec",
        "seq/gsasrec": "sslrec_seq.models.gsasrec:GSASRec",
        "seq/iclrec": "sslrec_seq.models.iclrec:ICLRec",
        "seq/markov": "sslrec_seq.baselines:Markov",
        "seq/neighbours": "sslrec_seq.baselines:SequenceNeighbours",
        "seq/recent-itemknn": "sslrec_seq.baselines:RecentItemKNN",
        "seq/s3rec": "sslrec_seq.models.s3rec:S3Rec",
        "seq/sasrec": "sslrec_seq.models.sasrec:SASRec",
        "seq/srma": "sslrec_seq.models.srma:SRMA",
    }


@hookimpl
def sslrec_augmenters() -> Offer:
    """Augmenters of histories."""
    return {
        "crop": "sslrec_seq.augmenters:Crop",
        "dropout": "sslrec_seq.augmenters:Unchanged",
        "encoder-complement": "sslrec_seq.model_augmentation:EncoderComplement",
        "insert": "sslrec_seq.augmenters:Insert",
        "layer-drop": "sslrec_seq.model_augmentation:LayerDrop",
        "mask": "sslrec_seq.augmenters:Mask",
        "neuron-mask": "sslrec_seq.model_augmentation:NeuronMask",
        "one-of": "sslrec_seq.augmenters:OneOf",
        "reorder": "sslrec_seq.augmenters:Reorder",
        "substitute": "sslrec_seq.augmenters:Substitute",
    }


@hookimpl
def sslrec_encoders() -> Offer:
    """Encoders of histories."""
    return {
        "caser": "sslrec_seq.encoders:ConvolutionalWindow",
        "gru": "sslrec_seq.encoders:GRU",
        "mean-pooling": "sslrec_seq.encoders:MeanPooling",
        "transformer": "sslrec_seq.encoders:Transformer",
        "weighted-mean": "sslrec_seq.encoders:WeightedMean",
    }


@hookimpl
def sslrec_objectives() -> Offer:
    """Losses of the next item, and contrasts of views."""
    return {
        "bce": "sslrec_seq.objectives:BinaryCrossEntropy",
        "gbce": "sslrec_seq.objectives:GeneralisedBinaryCrossEntropy",
        "nt-xent": "sslrec_seq.contrast:NTXent",
        "pairwise": "sslrec_seq.objectives:PairwiseRanking",
        "sampled-softmax": "sslrec_seq.objectives:SampledSoftmax",
        "softmax": "sslrec_seq.objectives:FullSoftmax",
    }


@hookimpl
def sslrec_presets() -> str:
    """The package that holds the presets."""
    return "sslrec_seq.presets"


@hookimpl
def sslrec_datasets() -> Offer:
    """Named datasets of sequences."""
    return {
        "seq/beauty": "sslrec_seq.datasets:Beauty",
        "seq/beauty-bert4rec": "sslrec_seq.datasets:BeautyBERT4Rec",
        "seq/demo": "sslrec_seq.datasets:Demo",
        "seq/ml-1m-partial": "sslrec_seq.datasets:ML1MPartial",
        "seq/sports": "sslrec_seq.datasets:Sports",
        "seq/sports_sslrec": "sslrec_seq.datasets:SportsSSLRec",
        "seq/toys": "sslrec_seq.datasets:Toys",
        "seq/yelp": "sslrec_seq.datasets:Yelp",
    }
