"""Where a scan lies, in the words of a NIfTI header: what every file on its grid repeats."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np

_FIELDS = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_ROWS = ("srow_x", "srow_y", "srow_z")


@dataclass(frozen=True, eq=False)
class Forms:
    """sform, qform, spacing and unit of a scan; a scan of any format has them.

    template: NIfTI-1 or -2 header, little-endian, that holds these and nothing else.
    """

    template: nib.Nifti1Header

    @classmethod
    def of_header(cls, header: nib.Nifti1Header, unit: str = "mm") -> Forms:
        """The place that a NIfTI header states, number for number; nothing else of it is kept.

        unit: of its numbers, in NIfTI's words ("mm", "meter", "micron").
        """
        template = (nib.Nifti2Header if isinstance(header, nib.Nifti2Header) else nib.Nifti1Header)(endianness="<")
        for field in (*_FIELDS, *_ROWS):
            template[field] = header[field]
        template["pixdim"][:4] = header["pixdim"][:4]
        template.set_xyzt_units(unit)
        return cls(template)

    @classmethod
    def of_affine(cls, affine: np.ndarray) -> Forms:
        """The place of a scan whose format knows no forms: an sform ("aligned") and the spacing.

        affine: float64 [4, 4], voxel index -> RAS mm.
        """
        template = nib.Nifti1Header(endianness="<")
        template.set_sform(affine, code="aligned")
        template.set_qform(affine, code="unknown")
        return cls.of_header(template)

    def header(self, shape: tuple[int, ...], dtype: np.dtype) -> nib.Nifti1Header:
        """A new header for voxels of `shape` and `dtype` at this place."""
        header = self.template.copy()
        header.set_data_dtype(dtype)
        header.set_data_shape(shape)
        header["pixdim"][:4] = self.template["pixdim"][:4]
        return header
