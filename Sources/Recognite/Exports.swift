// One import for users: `import Recognite`.
@_exported import Imaging
@_exported import Layers
@_exported import ModelZoo
@_exported import Tensors
@_exported import Weights
