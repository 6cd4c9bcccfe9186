"""The trainer: labelled images, windows, loss and loop, made for small networks on a CPU.

It knows no data set and no particular network. A caller brings a model, an `ImageSource` that makes its images, and a
`Loss`; `recipes/demo_weights/` is one such caller.
"""
