/// A number of channels rounded to a multiple of `divisor`, but not by more than 10 % down; from the TensorFlow models
/// by way of torchvision's `_make_divisible`.
func makeDivisible(_ value: Double, by divisor: Int = 8) -> Int {
    let rounded = max(divisor, Int(value + Double(divisor) / 2) / divisor * divisor)
    return Double(rounded) < 0.9 * value ? rounded + divisor : rounded
}
