import Recognite
import Testing

/// Tests of all models. The largest take ten gigabytes and more: they run one after the other, and leave no memory behind.
@Suite(.serialized) struct WholeModelTests {
    /// To be called when a test is done with a model.
    static func cleanUp() { Engine.releaseCachedMemory() }
}
