"""Windows, blending, engines and post-processing: from a model-space volume to class masks."""
