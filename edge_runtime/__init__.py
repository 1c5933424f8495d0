"""The part of cfvgg that runs on the device: frames in, tracks out. Never imports torch or onnx."""
