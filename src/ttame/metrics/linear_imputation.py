"""ROAD's imputation: removed pixels become weighted means of their neighbours, all at once.

The published code solves one sparse system an image with a general solver. The system is a
discrete Laplace equation whose boundary is the kept pixels, so here all images, shares and colours
are solved together, on any device, by conjugate gradients with one multigrid cycle as the
preconditioner: the number of steps depends neither on the size of the holes nor on the image's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import TtameError

TOLERANCE = 6e-5
"""Largest last correction of a pixel; the error after it is a tenth to a half of that, and a step
of an 8-bit pixel is forty times as much."""

_MOST_STEPS = 60
_COARSEST_PIXELS = 81
_DAMPING = 0.95
# On a CPU, working sets much larger than the caches cost more than many small calls do.
_MASKS_AT_A_TIME = {"cpu": 8}

_OFFSETS = tuple(itertools.product((-1, 0, 1), repeat=2))
_CENTRE = _OFFSETS.index((0, 0))
_WEIGHTS = tuple(2.0 if 0 in offset else 1.0 for offset in _OFFSETS)
_CENTRE_WEIGHT = 4

_NO_EQUATION = 1e-6
"""Coefficients of coarse equations below this are what is left of products of small trusts, where
scattered pixels were removed; their inverses would overflow."""


def impute_linearly(pixels: Tensor, removed: Tensor) -> Tensor:
    """Replace removed pixels by what their neighbours say.

    Every removed pixel x solves ``Σ w_n · x = Σ w_n x_n`` over its neighbours inside the image,
    removed or not, with w = 1/6 for the four direct neighbours and 1/12 for the diagonal ones
    (Rong et al., arXiv 2202.00449), to within 5e-5 of the exact solution.

    Args:
        pixels: (B, C, H, W) float, not normalised.
        removed: (B, H, W) or (B, S, H, W) bool; S masks for every image.

    Returns:
        (B, C, H, W), or (B, S, C, H, W) for S masks, a new tensor; kept pixels are unchanged. An
        image of which nothing is kept gets its mean colour everywhere.

    Raises:
        TtameError: pixels and masks do not fit together.

    Example:
        >>> pixels = torch.tensor([[[[0.0, 9.0, 1.0]]]])
        >>> impute_linearly(pixels, torch.tensor([[[False, True, False]]]))
        tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    _check(pixels, removed)
    masks = removed if removed.ndim == 4 else removed[:, None]
    images_of_masks = torch.arange(len(pixels), device=pixels.device)
    images_of_masks = images_of_masks.repeat_interleave(masks.shape[1])
    flat = masks.flatten(0, 1)
    count = _MASKS_AT_A_TIME.get(pixels.device.type, len(flat))
    solved = [
        _solve(pixels[image], mask)
        for image, mask in zip(
            torch.split(images_of_masks, count), torch.split(flat, count), strict=True
        )
    ]
    imputed = torch.cat(solved)
    return imputed if removed.ndim == 3 else imputed.reshape(*masks.shape[:2], *pixels.shape[1:])


def _check(pixels: Tensor, removed: Tensor) -> None:
    fits = pixels.ndim == 4 and removed.ndim in (3, 4) and removed.dtype == torch.bool
    if not (
        fits and len(removed) == len(pixels) and tuple(removed.shape[-2:]) == pixels.shape[-2:]
    ):
        raise TtameError(
            f"pixels {tuple(pixels.shape)} with a {removed.dtype} mask {tuple(removed.shape)}",
            allowed="(B, C, H, W) with bool (B, H, W) or (B, S, H, W)",
        )


def _solve(pixels: Tensor, removed: Tensor) -> Tensor:
    """One system for every mask and colour: (N, C, H, W) and (N, H, W) bool to (N, C, H, W)."""
    unknown = removed[:, None]
    values, free = pixels.float(), unknown.float()
    known = 1 - free
    n_known = known.sum(dim=(2, 3), keepdim=True)
    mean = torch.where(
        n_known > 0,
        (values * known).sum(dim=(2, 3), keepdim=True) / n_known.clamp_min(1),
        values.mean(dim=(2, 3), keepdim=True),
    )
    # Around the mean, rounding errors are small, and an image without known pixels is all 0.
    right_side = _neighbours((values - mean).mul_(known))
    solution = _conjugate_gradients(_Image(free), right_side)
    return torch.where(unknown, solution.add_(mean).to(pixels.dtype), pixels)


def _conjugate_gradients(image: _Image, right_side: Tensor) -> Tensor:
    cycle = _Multigrid(image)
    solution = torch.zeros_like(right_side)
    residual = right_side
    direction = solution
    before = right_side.new_ones(())
    unfinished = torch.ones_like(right_side[:, :1, :1, :1], dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        # One cycle nearly solves the system: what it would change is what is still wrong.
        correction = cycle.approximate_solution(residual)
        wrong = correction.abs().amax(dim=(1, 2, 3), keepdim=True) > TOLERANCE
        # Finished systems stand still, so that no image depends on the others of its batch.
        solution.addcmul_(correction, (unfinished & ~wrong).to(correction.dtype))
        unfinished = unfinished & wrong
        if not bool(unfinished.any()):
            break
        now = _dot(residual, correction)
        direction = torch.addcmul(correction, direction, now / before)
        changed = image.rest(0, direction)
        step = torch.where(unfinished, now / _not_zero(-_dot(direction, changed)), 0)
        solution.addcmul_(step, direction)
        residual = torch.addcmul(residual, step, changed)
        before = _not_zero(now)
    return solution


def _dot(left: Tensor, right: Tensor) -> Tensor:
    products: Tensor = torch.linalg.vecdot(left.flatten(2), right.flatten(2))
    return products[..., None, None]


def _not_zero(numbers: Tensor) -> Tensor:
    return torch.where(numbers == 0, 1, numbers)


class _Image:
    """The equations of the image itself: of every removed pixel, and none of a kept one.

    Args:
        free: (N, 1, H, W), 1 where a pixel was removed, otherwise 0.

    Attributes:
        inverse_diagonal: (N, 1, H, W), damped, for Jacobi steps; 0 where there is no equation.
        trust: (N, 1, H, W), see :func:`_trust`.
    """

    def __init__(self, free: Tensor) -> None:
        self.free = free
        diagonal = _neighbours(torch.ones_like(free[:1]))
        self.diagonal = diagonal * free
        self.diagonal_and_centre = diagonal + _CENTRE_WEIGHT
        inverse = free / _not_zero(self.diagonal)
        self.inverse_diagonal = _DAMPING * inverse
        self.trust = _neighbours(free) * inverse

    def rest(self, right_side: Tensor | float, unknowns: Tensor) -> Tensor:
        """What is left of the right side, (N, C, H, W).

        ``unknowns`` are 0 where a pixel was kept; what the rest is there is never looked at.
        """
        rest = _weighted_sums(unknowns).add_(right_side)
        return rest.addcmul_(self.diagonal_and_centre, unknowns, value=-1)

    def trusted_stencil(self) -> Tensor:
        """(N, 9, H, W), coefficients of each equation between trust of both sides."""
        stencil = self.trust.new_empty(len(self.free), 9, *self.free.shape[-2:])
        for index, neighbour in enumerate(_around(self.trust)):
            torch.mul(self.trust, neighbour, out=stencil[:, index, None])
            stencil[:, index] *= -_WEIGHTS[index]
        torch.mul(self.trust.square(), self.diagonal, out=stencil[:, _CENTRE, None])
        return stencil


class _Coarser:
    """The same equations on a coarser grid, with coefficients of their own at every place.

    Args:
        stencil: (N, 9, h, w), the coefficient of each neighbour in each equation.
    """

    def __init__(self, stencil: Tensor) -> None:
        self.stencil = stencil
        diagonal = stencil[:, _CENTRE, None]
        inverse = torch.where(diagonal > _NO_EQUATION, 1 / diagonal, 0)
        self.inverse_diagonal = _DAMPING * inverse
        self.trust = (1 - stencil.sum(dim=1, keepdim=True) * inverse).clamp_(0, 1)

    def rest(self, right_side: Tensor, unknowns: Tensor) -> Tensor:
        """What is left of the right side, (N, C, h, w)."""
        rest = right_side.clone()
        for index, neighbour in enumerate(_around(unknowns)):
            rest.addcmul_(self.stencil[:, index, None], neighbour, value=-1)
        return rest

    def trusted_stencil(self) -> Tensor:
        return self.stencil * self.trust * torch.cat(list(_around(self.trust)), dim=1)

    def inverse(self) -> Tensor:
        """(N, hw, hw), of the whole system; places without an equation answer 0."""
        batch, _, height, width = self.stencil.shape
        places = torch.arange(height * width, device=self.stencil.device)
        row, column = places // width, places % width
        system = self.stencil.new_zeros(batch, height * width, height * width).double()
        for index, (down, right) in enumerate(_OFFSETS):
            inside = (row + down).clamp(0, height - 1) == row + down
            inside &= (column + right).clamp(0, width - 1) == column + right
            here = places[inside]
            values = self.stencil[:, index].flatten(1)[:, here]
            system[:, here, here + down * width + right] = values.double()
        # Where nothing is kept, any constant solves the system: a grain of identity chooses 0.
        diagonal = system.diagonal(dim1=1, dim2=2)
        diagonal += torch.where(diagonal > _NO_EQUATION, 1e-9, 1.0)
        inverse: Tensor = torch.linalg.inv(system)
        return inverse.to(self.stencil.dtype)


class _Multigrid:
    """One symmetric V-cycle, with Galerkin's coarse equations and one Jacobi step on each side.

    A correction from a coarser grid counts as much as the place trusts its neighbours: the share
    of its equation that unknown neighbours have. Inside holes trust is 1; next to kept pixels it
    falls, since there the correction must go to 0. Without it the edge of the hole moves by half a
    coarse place on every grid, and holes with winding edges take twice as many cycles.
    """

    def __init__(self, image: _Image) -> None:
        self.levels: list[_Image | _Coarser] = [image]
        while True:
            coarser = _Coarser(_coarser_stencil(self.levels[-1].trusted_stencil()))
            self.coarsest_size = coarser.stencil.shape[-2:]
            if self.coarsest_size.numel() <= _COARSEST_PIXELS:
                break
            self.levels.append(coarser)
        self.coarsest_inverse = coarser.inverse()

    def approximate_solution(self, right_side: Tensor, depth: int = 0) -> Tensor:
        if depth == len(self.levels):
            solution: Tensor = right_side.flatten(2) @ self.coarsest_inverse
            return solution.reshape(*solution.shape[:2], *self.coarsest_size)
        level = self.levels[depth]
        smooth = right_side * level.inverse_diagonal
        rest = level.rest(right_side, smooth).mul_(level.trust)
        coarse = self.approximate_solution(_to_coarser(rest), depth + 1)
        smooth.addcmul_(_to_finer(coarse, right_side.shape[-2:]), level.trust)
        return smooth.addcmul_(level.rest(right_side, smooth), level.inverse_diagonal)


def _around(values: Tensor) -> Iterator[Tensor]:
    """The neighbours of every place, in the order of the offsets; outside counts as 0."""
    padded = F.pad(values, (1, 1, 1, 1))
    height, width = values.shape[-2:]
    for down, right in _OFFSETS:
        yield padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def _neighbours(values: Tensor) -> Tensor:
    """``Σ 12 w_n x_n`` over the neighbours inside the image; outside counts as 0.

    Twelve times the weights are whole numbers, 2 and 1, whose sums are exact: a rounding error in
    the coefficients would be amplified in large holes.
    """
    return _weighted_sums(values).sub_(values, alpha=_CENTRE_WEIGHT)


def _weighted_sums(values: Tensor) -> Tensor:
    """[1 2 1]ᵀ[1 2 1] around every place: the neighbours' weights, and 4 in the centre.

    Additions of whole images are several times faster on a CPU than a convolution of one channel.
    """
    along = 2 * values
    along[..., 1:] += values[..., :-1]
    along[..., :-1] += values[..., 1:]
    both = 2 * along
    both[..., 1:, :] += along[..., :-1, :]
    both[..., :-1, :] += along[..., 1:, :]
    return both


def _to_coarser(fine: Tensor) -> Tensor:
    """Transpose of :func:`_to_finer`: (…, H, W) to (…, H // 2 + 1, W // 2 + 1)."""
    return _to_coarser_along(_to_coarser_along(fine, -2), -1)


def _to_coarser_along(fine: Tensor, dim: int) -> Tensor:
    length = fine.shape[dim]
    shape = list(fine.shape)
    shape[dim] = length // 2 + 1
    coarse = fine.new_zeros(shape)
    even, odd = _every_second(fine, dim, 0), _every_second(fine, dim, 1)
    coarse.narrow(dim, 0, even.shape[dim]).copy_(even)
    coarse.narrow(dim, 0, odd.shape[dim]).add_(odd, alpha=0.5)
    coarse.narrow(dim, 1, odd.shape[dim]).add_(odd, alpha=0.5)
    return coarse


def _to_finer(coarse: Tensor, size: tuple[int, ...]) -> Tensor:
    """Interpolate linearly; coarse places lie on the even fine ones."""
    return _to_finer_along(_to_finer_along(coarse, -1, size[-1]), -2, size[-2])


def _to_finer_along(coarse: Tensor, dim: int, length: int) -> Tensor:
    shape = list(coarse.shape)
    shape[dim] = length
    fine = coarse.new_empty(shape)
    even, odd = _every_second(fine, dim, 0), _every_second(fine, dim, 1)
    even.copy_(coarse.narrow(dim, 0, even.shape[dim]))
    count = odd.shape[dim]
    torch.add(coarse.narrow(dim, 0, count), coarse.narrow(dim, 1, count), out=odd)
    odd.mul_(0.5)
    return fine


def _every_second(values: Tensor, dim: int, first: int) -> Tensor:
    return values[..., first::2] if dim == -1 else values[..., first::2, :]


def _coarser_stencil(stencil: Tensor) -> Tensor:
    """Galerkin's coarse equations PᵀAP: (N, 9, H, W) to (N, 9, H // 2 + 1, W // 2 + 1)."""
    kernel = _galerkin_kernel().to(stencil)
    height, width = stencil.shape[-2:]
    # One place of padding before, and as many behind as the last coarse place reaches.
    padded = F.pad(stencil, (1, 1 + (width + 1) % 2, 1, 1 + (height + 1) % 2))
    return F.conv2d(padded, kernel, stride=2)


@functools.lru_cache(maxsize=1)
def _galerkin_kernel() -> Tensor:
    """(9, 9, 3, 3): PᵀAP is linear in A's coefficients, and the same at every coarse place.

    A coarse place I and its coarse neighbour I + K are coupled by every fine pixel p around 2I
    and its neighbour p + k: ``P(p − 2I) · a_k(p) · P(p + k − 2I − 2K)``.
    """

    def weight(down: int, right: int) -> float:
        return max(0.0, 1 - abs(down) / 2) * max(0.0, 1 - abs(right) / 2)

    kernel = torch.zeros(9, 9, 3, 3, dtype=torch.float32)
    for coarse, (big_down, big_right) in enumerate(_OFFSETS):
        for fine, (down, right) in enumerate(_OFFSETS):
            for y, x in _OFFSETS:
                kernel[coarse, fine, y + 1, x + 1] = weight(y, x) * weight(
                    y + down - 2 * big_down, x + right - 2 * big_right
                )
    return kernel
