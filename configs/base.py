"""Every key of a run, with its unit and meaning; the paper's recipe where the paper has one.

A config file starts from `get_config()` and assigns. The dictionary is locked, so a misspelt key
raises instead of being ignored.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """The locked defaults: I²SB (arXiv 2302.05872) on ImageNet at 256², 4× super-resolution."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # of weights, order, augmentation and noise
    config.corruption = "sr4x-pool"  # what is repaired, a name of i2sb_jax.corruptions, or pairs
    config.mask_file = ""  # .npz of freeform masks (the paper's); "" draws brush strokes
    config.image_size = 256  # pixels, height and width of training pictures
    config.matmul_precision = "default"  # of float32 on TPU and GPU: default | high | highest
    config.distributed = "auto"  # auto: a launcher's processes, or one | on: a launcher's | off
    config.bridge = _bridge()
    config.model = _model()
    config.data = _data()
    config.optimizer = _optimizer()
    config.training = _training()
    config.teacher = ""  # a run or model folder: train a student of it; "": a bridge of its own
    config.distill = _distill()
    config.mesh = _mesh()
    config.sampling = _sampling()
    config.evaluation = _evaluation()
    return config.lock()


def _bridge() -> ml_collections.ConfigDict:
    bridge = ml_collections.ConfigDict()
    bridge.name = "i2sb"  # i2sb (published weights) | i2sb-exact | brownian | vp | ou
    bridge.num_steps = 1000  # N, even
    bridge.beta_max = 0.3  # of i2sb: nominal peak of N·β; 0.3 or 1.0 in the paper
    bridge.deterministic = False  # False: SDE; True: OT-ODE, no noise in training or sampling
    bridge.prediction = "epsilon"  # what the network gives: epsilon (Eq. 12) | x0 | v
    bridge.weighting = "epsilon"  # of its error: epsilon | x0 | v | snr | min_snr | truncated_snr
    bridge.end_share = 0.0  # of pictures at step N - 1, all that nfe=1 sees; the rest at any step
    bridge.log_floor = 0.0  # > 0: log(loss + this) of each picture, so that small errors count too
    return bridge


def _model() -> ml_collections.ConfigDict:
    model = ml_collections.ConfigDict()  # ADM's 256² network, 552,807,171 parameters
    model.model_channels = 256  # width of the first level
    model.channel_mult = (1.0, 1.0, 2.0, 2.0, 4.0, 4.0)  # width of each level / model_channels
    model.num_res_blocks = 2  # residual blocks a level
    model.attention_downsamples = (8, 16, 32)  # attention where the picture is so much smaller
    model.head_channels = 64  # channels an attention head
    model.norm_groups = 32  # groups of group normalisation; fewer for narrow networks
    model.norm = "group"  # group (ADM) | none: without attention a pixel sees what is near it
    model.patch = 1  # 1 (ADM), 2 or 4: squares of so many pixels are channels of the network
    model.middle_attention = True  # attention at the coarsest level, as ADM has it
    model.sharpened = ()  # σ in pixels: it sees its picture sharpened for such blurs; () in ADM
    model.dropout = 0.0  # rate inside residual blocks
    model.dtype = "float32"  # compute: float32 | bfloat16; parameters are float32 always
    model.remat = "none"  # recomputed in the backward pass: none | blocks | dots
    return model


def _data() -> ml_collections.ConfigDict:
    data = ml_collections.ConfigDict()
    data.source = "folder"  # photos | folder | records | tfds | synthetic | pairs
    data.path = ""  # directory of pictures or records; data_dir of tfds; may be gs://
    data.eval_path = ""  # held-out pictures; "" holds out eval_fraction of `path` by name
    data.eval_fraction = 0.02  # share of `path` that is held out, 0 … 1
    data.eval_list = ""  # file of names, one a line, with a label or not: these held-out pictures
    data.tfds_name = ""  # builder, e.g. imagenet2012
    data.tfds_split = "train"  # TFDS split for training
    data.tfds_eval_split = "validation"  # TFDS split for evaluation
    data.crop = "resize"  # resize: short side to image_size; window: cut at native resolution
    data.flip = True  # horizontal flips in training
    data.quarter_turns = False  # turns by 90° in training (windows without an up or down)
    data.shuffle_channels = False  # RGB in any order in training: more colours from few pictures
    data.scales = (1.0,)  # training windows are of the picture times one of these, drawn a visit
    data.grain = (0.0, 0.0)  # levels: from, to which σ of noise added to clean training windows
    data.max_unreadable = 100  # training stops when more pictures than this cannot be read
    # all below: of data.source = "pairs", with corruption = "pairs"; `path` is the source (X_1)
    data.target_path = ""  # directory of the targets (X_0), matched by name; "": side by side
    data.eval_target_path = ""  # targets of eval_path
    data.source_side = "left"  # of side-by-side pictures as in pix2pix: left | right
    data.source_channels = 3  # of every source file
    data.target_channels = 3  # of every target file; of what the bridge works on
    data.scaling = "dtype"  # what becomes -1 and 1: dtype (its range) | fixed | percentiles
    data.source_range = (0.0, 1.0)  # fixed: values of the files that become -1 and 1
    data.target_range = (0.0, 1.0)  # the same for the targets
    data.source_nodata = ()  # values that are no data, beside NaN and what GDAL_NODATA names
    data.target_nodata = ()  # the same of the targets
    data.percentiles = (0.1, 99.9)  # percent, of each channel over the training side
    data.group_pattern = ""  # regex on a name: its group 1 (a patient, …) is never split; "": name
    data.cond_x1 = False  # the network sees X_t and, beside it, the whole source
    return data


def _optimizer() -> ml_collections.ConfigDict:
    optimizer = ml_collections.ConfigDict()  # AdamW
    optimizer.learning_rate = 5e-5  # peak
    optimizer.schedule = "step"  # step: × decay_rate every decay_every; cosine: to 0 at the end
    optimizer.warmup_steps = 0  # updates of linear warm-up
    optimizer.decay_every = 1000  # updates
    optimizer.decay_rate = 0.99  # factor
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8
    optimizer.weight_decay = 0.0  # decoupled
    optimizer.clip_norm = 0.0  # longer gradients are scaled down to this norm; 0: never
    optimizer.skip_norm = 0.0  # updates by longer gradients are not made; 0: all are
    return optimizer


def _training() -> ml_collections.ConfigDict:
    training = ml_collections.ConfigDict()
    training.num_steps = 1_000_000  # updates in all
    training.batch_size = 256  # pictures an update, over all devices
    training.accumulation_steps = 1  # micro-batches an update
    training.ema_decay = 0.99  # of the averaged weights, after min(decay, (1+k)/(10+k))
    training.init_from = ""  # a run, a model folder or .safetensors: its (averaged) weights
    training.log_every = 100  # updates between lines of metrics.jsonl
    training.image_every = 5000  # updates between sheets of restored held-out pictures
    training.checkpoint_every = 5000  # updates
    training.keep_checkpoints = 3  # the newest
    training.keep_every = 0  # and those of steps that it divides, for good; 0: none
    training.best_metric = ""  # and the one that restores best: psnr | ssim, held out; "": none
    training.wandb_project = ""  # Weights & Biases, beside TensorBoard; "": none
    return training


def _distill() -> ml_collections.ConfigDict:
    distill = ml_collections.ConfigDict()  # of a teacher's student, which takes sampling.nfe steps
    distill.method = "inverse"  # inverse: bridge matching (IBMD) | regression: on the OT-ODE's end
    distill.auxiliary_updates = 5  # of inverse: of the auxiliary bridge, for one of the student
    distill.teacher_nfe = 10  # of regression: evaluations of the teacher
    return distill


def _mesh() -> ml_collections.ConfigDict:
    mesh = ml_collections.ConfigDict()  # data × fsdp are all devices; may change between restarts
    mesh.data = -1  # devices that share a batch only; -1: the rest
    mesh.fsdp = 1  # devices that share a batch and large parameters
    mesh.fsdp_min_bytes = 4 * 2**20  # smaller tensors lie whole on every device
    return mesh


def _sampling() -> ml_collections.ConfigDict:
    sampling = ml_collections.ConfigDict()
    sampling.sampler = "ddpm"  # ddpm: SDE posterior | ode: OT-ODE | implicit, implicit2, implicit3
    sampling.nfe = 10  # network evaluations, 1 … num_steps - 1
    sampling.spacing = "index"  # of the steps: evenly in index | sigma | lambda
    sampling.eta = 0.0  # of implicit: 0 (ODE) … 1 (posterior)
    sampling.batch_size = 8  # pictures a device in one network call
    sampling.clip = False  # clip each predicted X_0 to [-1, 1]
    return sampling


def _evaluation() -> ml_collections.ConfigDict:
    evaluation = ml_collections.ConfigDict()  # of i2sb-evaluate; "" leaves the metric out
    evaluation.inception = ""  # pytorch-fid's pt_inception-2015-12-05-6726825d.pth: FID, KID
    evaluation.resnet50 = ""  # torchvision's resnet50-0676ba61.pth: classifier accuracy
    evaluation.lpips_backbone = ""  # torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth
    evaluation.lpips_linear = ""  # LPIPS v0.1's alex.pth or vgg.pth
    evaluation.reference_stats = ""  # .npz of mu and sigma for FID; "": the clean pictures
    return evaluation
