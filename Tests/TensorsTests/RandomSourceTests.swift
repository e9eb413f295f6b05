import Tensors
import Testing

/// Numbers of xoshiro256** and what is made from them, computed by a program in another language.
@Suite struct RandomSourceTests {
    @Test func drawsOfASeedStayTheSame() {
        var source = RandomSource(seed: 42)
        #expect((0..<8).map { _ in source.index(below: 10) } == [0, 3, 6, 9, 9, 7, 7, 8])
        // A bound near which many numbers are drawn again.
        let bound = 6917529027641081857
        #expect(
            (0..<4).map { _ in source.index(below: bound) } == [
                4035335783362848407, 4919400386933109485, 6071980290417782014,
                4266465873998043608,
            ])
        #expect(source.shuffled(0..<10) == [8, 7, 1, 3, 5, 2, 0, 4, 6, 9])
        #expect(source.shuffled([Int]()) == [] && source.shuffled([7]) == [7])
    }
}
