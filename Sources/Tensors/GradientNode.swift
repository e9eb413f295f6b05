/// One step of a computation.
final class GradientNode {}
