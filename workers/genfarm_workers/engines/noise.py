"""Random numbers without a generator: a hash of (seed, position, index).

No state means that nothing a neighbour does can shift a task's numbers, and
a retry draws the same ones. The mixing step is SplitMix64's finaliser
(Steele, Lea, Flood 2014, https://doi.org/10.1145/2660193.2660195), in int64
arithmetic that wraps, so that the CPU and the GPU agree to the bit.
"""

import torch

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
#: Bits of a uniform number: float32 holds k + 0.5 exactly up to 2**23, so none rounds to 1.
_UNIFORM_BITS = 23


def derive_seed(seed: int, k: int) -> int:
    """The seed of a task's k-th continuation or picture; the 0-th uses the task's own."""
    if k == 0:
        return seed
    return _mix(_mix(seed) + k * _GOLDEN) >> 1


def mixed(seed: int) -> int:
    """The part of `noise_keys` that is the seed's alone, as an int64."""
    return _signed(_mix(seed))


def noise_keys(mixed_seeds: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """One int64 a row for all vocabulary entries at its place of its text, on their device.

    Takes (B,) int64 of `mixed` seeds and of positions.
    """
    return _mixed(mixed_seeds ^ _mixed((positions + 1) * _signed(_GOLDEN)))


def gumbel(keys: torch.Tensor, size: int) -> torch.Tensor:
    """(B,) int64 keys to (B, size) float32 Gumbel noise; element-wise, so rows are independent."""
    index = torch.arange(1, size + 1, device=keys.device) * _signed(_GOLDEN)
    bits = _mixed(keys[:, None] + index)
    uniform = _shifted(bits, 64 - _UNIFORM_BITS).to(torch.float32)
    uniform = uniform.add_(0.5).mul_(2.0**-_UNIFORM_BITS)
    return uniform.log_().neg_().log_().neg_()


def _mixed(bits: torch.Tensor) -> torch.Tensor:
    """SplitMix64's finaliser on int64, in place where it can be: memory is what it costs."""
    bits = (bits ^ _shifted(bits, 30)).mul_(_signed(_FIRST))
    bits = bits.bitwise_xor_(_shifted(bits, 27)).mul_(_signed(_SECOND))
    return bits.bitwise_xor_(_shifted(bits, 31))


def _mix(value: int) -> int:
    value &= _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _signed(value: int) -> int:
    """The same 64 bits as an int64."""
    value &= _MASK
    return value - 2**64 if value >= 2**63 else value


def _shifted(bits: torch.Tensor, places: int) -> torch.Tensor:
    """Logical right shift; torch's own copies the sign bit."""
    return torch.bitwise_right_shift(bits, places).bitwise_and_((1 << (64 - places)) - 1)
