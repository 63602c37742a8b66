"""Devices, and what compilers make of programs for them.

`topologies` names the devices of this machine and of others, `sharding` lays batches and states
over a mesh of them; `processes` joins those that a launcher started, `agreement` lets them take one
way; `compiler` holds options of XLA, `program` reads what a compiled program computes, holds and
exchanges; `peaks` are what devices could compute, `memory` is what they have left.
"""
