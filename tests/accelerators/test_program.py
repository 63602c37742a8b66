"""The compiler's account, loops multiplied: against programs without loops, and by hand."""

import types

import jax
import jax.numpy as jnp
import pytest

from i2sb_jax.accelerators import sharding
from i2sb_jax.accelerators.compiler import _CPU_OPTIONS, accepted_options, compile_options
from i2sb_jax.accelerators.program import Collective, Memory, read_program

pytestmark = pytest.mark.usefixtures("fully_optimized")


def block(x, kernel, weights):
    """A convolution, a matrix product and something element-wise."""
    layout = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
    return jnp.sum(jnp.sin(jnp.einsum("bhwc,cd->bhwd", y, weights)))


def compiled_loss(rounds, *, scanned):
    """The gradient of a sum over `rounds` batches of eight pictures."""

    def loss(kernel, weights, pictures):
        if scanned:
            step = lambda total, x: (total + block(x, kernel, weights), None)  # noqa: E731
            return jax.lax.scan(step, jnp.zeros(()), pictures)[0]
        return sum(block(x, kernel, weights) for x in pictures)

    shapes = [(3, 3, 4, 8), (8, 16), (rounds, 8, 16, 16, 4)]
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(jax.grad(loss, (0, 1))).lower(*arrays).compile()


def test_a_loop_counts_as_often_as_it_runs():
    unrolled, loop = (compiled_loss(6, scanned=scanned) for scanned in (False, True))
    expected = read_program(unrolled).flops
    assert expected == unrolled.cost_analysis()["flops"]
    assert read_program(loop).flops == pytest.approx(expected, rel=0.03)
    # what this module is for
    assert loop.cost_analysis()["flops"] < 0.4 * expected


def test_memory_is_the_compilers():
    compiled = compiled_loss(2, scanned=True)
    memory = read_program(compiled).memory
    assert memory.arguments == 4 * (3 * 3 * 4 * 8 + 8 * 16 + 2 * 8 * 16 * 16 * 4)
    assert memory.outputs == pytest.approx(4 * (3 * 3 * 4 * 8 + 8 * 16), abs=64)
    assert memory.total == sum(memory) > memory.arguments + memory.outputs


WORK = """
  %permute = (f32[2,4]{1,0}, f32[2,4]{1,0}, u32[]{:S(2)}) collective-permute-start(%x), channel_id=3
  %square = f32[4,4]{1,0} dot(%x, %x), lhs_contracting_dims={0}, rhs_contracting_dims={0}
"""


def program(
    body="",
    *,
    counter="add(%i, %two)",
    bound="constant(8)",
    first="constant(0)",
    direction="LT",
    known="",
    empty=False,
):
    """A program in the form that the TPU compiler prints: a loop that it unrolled once."""
    body = "" if empty else WORK + f"  {body}"
    text = f"""HloModule jit_f, num_partitions=16

%fused (p: bf16[4,8]) -> bf16[4,8] {{
  %p = bf16[4,8]{{1,0:T(8,128)(2,1)}} parameter(0)
  ROOT %gather.2 = bf16[64,8]{{1,0:T(8,128)}} all-gather(%p), channel_id=7, dimensions={{0}}
}}

%fused.1 (p.1: bf16[4,8]) -> bf16[4,8] {{
  %p.1 = bf16[4,8]{{1,0:T(8,128)(2,1)}} parameter(0)
  ROOT %gather.3 = bf16[64,8]{{1,0:T(8,128)}} all-gather(%p.1), channel_id=7, dimensions={{0}}
}}

%body (state: (s32[], f32[2,4])) -> (s32[], f32[2,4]) {{
  %state = (s32[]{{:T(128)}}, f32[2,4]{{1,0}}) parameter(0)
  %two = s32[]{{:T(128)}} constant(2)
  %i = s32[]{{:T(128)}} get-tuple-element(%state), index=0
  %x = f32[2,4]{{1,0}} get-tuple-element(%state), index=1
{body}
  %next = s32[]{{:T(128)}} {counter}
  ROOT %out = (s32[]{{:T(128)}}, f32[2,4]{{1,0}}) tuple(%next, %x)
}}

%condition (state.1: (s32[], f32[2,4])) -> pred[] {{
  %state.1 = (s32[]{{:T(128)}}, f32[2,4]{{1,0}}) parameter(0)
  %bound = s32[]{{:T(128)}} {bound}
  %i.1 = s32[]{{:T(128)}} get-tuple-element(%state.1), index=0
  ROOT %less = pred[]{{:T(512)}} compare(%i.1, %bound), direction={direction}
}}

ENTRY %main (x.1: f32[2,4]) -> f32[2,4] {{
  %x.1 = f32[2,4]{{1,0}} parameter(0)
  %zero = s32[] {first}
  %start = bf16[64,8]{{1,0}} fusion(%x.1), kind=kCustom, calls=%fused
  %beside = bf16[64,8]{{1,0}} fusion(%x.1), kind=kCustom, calls=%fused.1, /*index=5*/metadata={{op_name="a(b"}}
  %first = (s32[], f32[2,4]{{1,0}}) tuple(%zero, %x.1)
  %loop = (s32[], f32[2,4]{{1,0}}) while(%first), condition=%condition, body=%body{known}
  ROOT %result = f32[2,4]{{1,0}} get-tuple-element(%loop), index=1
}}
"""  # noqa: E501
    sizes = dict.fromkeys(
        ("argument", "output", "alias", "temp", "generated_code"), 0
    )  # of what is not asked here
    return types.SimpleNamespace(
        as_text=lambda: text,
        cost_analysis=lambda: {"flops": 1000.0},
        memory_analysis=lambda: types.SimpleNamespace(
            **{f"{name}_size_in_bytes": size for name, size in sizes.items()}
        ),
    )


def test_an_unrolled_loop_makes_fewer_rounds():
    found = read_program(program())
    assert found.flops == 1000 + 3 * (2 * 4 * 4 * 2)  # four rounds, of which one was counted
    assert found.collectives["collective-permute"] == Collective(4, 4 * 32)


def test_an_annotation_of_the_rounds_is_believed():
    known = ', backend_config={"known_trip_count":{"n":"5"}}'
    assert read_program(program(known=known)).collectives["collective-permute"].count == 5


def test_one_collective_told_twice_is_one():
    assert read_program(program()).collectives["all-gather"] == Collective(1, 64 * 8 * 2)


def test_kinds_are_told_apart():
    other = "%all = f32[2,4]{1,0} all-to-all(%x), channel_id=9, dimensions={0}"
    assert set(read_program(program(other)).collectives) == {
        "all-gather", "all-to-all", "collective-permute",
    }  # fmt: skip
    assert read_program(program(other)).collectives["all-to-all"] == Collective(4, 4 * 32)


CONVOLUTION = """window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_o01i->b01f"""
NVIDIA = f"""HloModule jit_f, num_partitions=2

%body (state: (s32[], f32[32,16])) -> (s32[], f32[32,16]) {{
  %state = (s32[], f32[32,16]{{1,0}}) parameter(0)
  %i = s32[] get-tuple-element(%state), index=0
  %a = f32[32,16]{{1,0}} get-tuple-element(%state), index=1
  %b = f32[16,64]{{1,0}} constant({{...}})
  %gemm = (f32[32,64]{{1,0}}, s8[4194304]{{0}}) custom-call(%a, %b), custom_call_target="__cublas$lt$matmul", backend_config={{"gemm_backend_config":{{"dot_dimension_numbers":{{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}}}}
  ROOT %out = (s32[], f32[32,16]{{1,0}}) tuple(%i, %a)
}}

%condition (state.1: (s32[], f32[32,16])) -> pred[] {{
  %state.1 = (s32[], f32[32,16]{{1,0}}) parameter(0)
  ROOT %less = pred[] constant(true)
}}

ENTRY %main (x: bf16[4,16,16,8]) -> f32[32,16] {{
  %x = bf16[4,16,16,8]{{3,2,1,0}} parameter(0)
  %kernel = bf16[24,3,3,8]{{3,2,1,0}} parameter(1)
  %q = bf16[2,64,4,32]{{3,2,1,0}} parameter(2)
  %forward = (bf16[4,16,16,24]{{3,2,1,0}}, u8[0]{{0}}) custom-call(%x, %kernel), {CONVOLUTION}, custom_call_target="__cudnn$convForward"
  %y = bf16[4,16,16,24]{{3,2,1,0}} get-tuple-element(%forward), index=0
  %input = (bf16[4,16,16,8]{{3,2,1,0}}, u8[0]{{0}}) custom-call(%y, %kernel), {CONVOLUTION}, custom_call_target="__cudnn$convBackwardInput"
  %filter = (bf16[24,3,3,8]{{3,2,1,0}}, u8[0]{{0}}) custom-call(%x, %y), {CONVOLUTION}, custom_call_target="__cudnn$convBackwardFilter"
  %scores = (bf16[2,4,64,32]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %q, %q), custom_call_target="__cudnn$fmhaSoftmax", backend_config={{"intermediate_tensor_shape": {{"element_type": "BF16", "dimensions": ["2", "4", "64", "64"]}}}}
  %back = (bf16[2,4,64,32]{{3,1,2,0}}, u8[0]{{0}}) custom-call(%q, %q, %q), custom_call_target="__cudnn$fmhaSoftmaxBackward", backend_config={{"intermediate_tensor_shape": {{"element_type": "BF16", "dimensions": ["2", "4", "64", "64"]}}}}
  %scatter = ((f32[32,64]{{1,0}}, f32[8]{{0}}), (f32[16,64]{{1,0}}, f32[4]{{0}})) reduce-scatter-start(%p, %r), channel_id=4, dimensions={{0}}, to_apply=%add
  %p = f32[32,64]{{1,0}} parameter(3)
  %r = f32[8]{{0}} parameter(4)
  %loop = (s32[], f32[32,16]{{1,0}}) while(%first), condition=%condition, body=%body, backend_config={{"known_trip_count":{{"n":"3"}},"known_init_step":{{"init":"0","step":"1"}}}}
  ROOT %result = f32[32,16]{{1,0}} get-tuple-element(%loop), index=1
}}
"""  # noqa: E501


def compiled_for_gpus(text=NVIDIA):
    """A program of a machine without a GPU, in the form that the compiler prints."""
    found = program()
    found.as_text, found.cost_analysis = lambda: text, lambda: None
    return found


def test_products_of_nvidias_libraries_are_counted_from_the_text():
    found = read_program(compiled_for_gpus())
    # 16 places a line see three points, but the two at its ends two
    convolution = 2 * 4 * 8 * 24 * (16 * 3 - 2) ** 2
    attention = 2 * (2 * 4 * 64 * 64) * 32  # one product
    assert found.flops == 3 * convolution + 7 * attention + 3 * (2 * 32 * 16 * 64)
    assert found.uncounted == 0
    assert found.libraries == {
        "__cublas$lt$matmul": 3, "__cudnn$convBackwardFilter": 1, "__cudnn$convBackwardInput": 1,
        "__cudnn$convForward": 1, "__cudnn$fmhaSoftmax": 1, "__cudnn$fmhaSoftmaxBackward": 1,
    }  # fmt: skip
    # several in one: what a device has of it afterwards
    assert found.collectives == {"reduce-scatter": Collective(1, 4 * (16 * 64 + 4))}


def test_a_machine_with_gpus_counts_nothing_for_these_libraries():
    """XLA's cost analysis has -1 for each call; what it says of the rest is left out as well."""
    found = compiled_for_gpus()
    found.cost_analysis = lambda: {"flops": 500.0 - 6}
    assert read_program(found).flops == read_program(compiled_for_gpus()).flops


def test_a_library_of_others_is_not_counted_where_there_is_no_account():
    found = read_program(compiled_for_gpus(NVIDIA.replace("__cudnn$convForward", "my_conv")))
    assert found.uncounted == 1
    assert found.flops == read_program(compiled_for_gpus()).flops - 2 * 4 * 8 * 24 * 46**2


def test_calls_of_a_library_in_a_loop_are_told():
    call = '%y = f32[4,4]{1,0} custom-call(%x, %x), custom_call_target="__onednn$matmul"'
    assert read_program(program(call)).uncounted == 1 and not read_program(program()).uncounted


def test_a_loop_without_anything_to_count_may_be_of_any_length():
    found = read_program(program(counter="multiply(%i, %two)", empty=True))
    assert found.flops == 1000 and set(found.collectives) == {"all-gather"}


@pytest.mark.parametrize(
    "change",
    [
        {"counter": "multiply(%i, %two)"},
        {"counter": "add(%i, %i)"},
        {"bound": "parameter(1)"},
        {"direction": "LE"},
        {"direction": "GE"},
        {"first": "parameter(6)"},
    ],
    ids=str,
)
def test_a_loop_of_unknown_length_is_no_guess(change):
    with pytest.raises(ValueError, match="does not tell how often loop runs"):
        read_program(program(**change))


def test_memory_adds_up():
    assert Memory(1, 2, 3, 4).total == 10


# --- options ------------------------------------------------------------------------------------


def test_this_jaxlib_takes_all_options():
    mesh = sharding.make_mesh()
    assert compile_options(mesh) == _CPU_OPTIONS


@pytest.mark.parametrize(
    "refused",
    [("xla_no_such_option", True), ("xla_cpu_experimental_ynn_fusion_type", "NO_SUCH_TYPE")],
    ids=["name", "value"],
)
def test_an_option_that_is_refused_is_left_out_and_named(refused):
    taken = ("xla_cpu_copy_insertion_use_region_analysis", True)
    with pytest.warns(UserWarning, match=f"refuses the compiler option {refused[0]}="):
        assert accepted_options((refused, taken)) == dict([taken])
