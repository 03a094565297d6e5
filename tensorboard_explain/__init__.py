"""The Explain tab: explanations over training, in TensorBoard itself.

TensorBoard imports every plugin when it starts, and one that fails to import takes all of TensorBoard down. So nothing
here imports torch or Lightning, or anything else than TensorBoard and the standard library.
"""
