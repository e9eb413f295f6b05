import Tensors

extension Tensor {
    /// The mean of each channel: `[N, H, W, C]` to `[N, C]`.
    func globalAveragePool() -> Tensor { adaptiveAvgPool2d(height: 1, width: 1).flattenedChannelsFirst() }

    /// The tensors one after the other along the channels: `[N, H, W, C₁]`, `[N, H, W, C₂]`, … to
    /// `[N, H, W, C₁ + C₂ + …]`.
    static func concatenatedChannels(_ parts: Tensor...) -> Tensor { concatenated(parts, axis: -1) }
}
