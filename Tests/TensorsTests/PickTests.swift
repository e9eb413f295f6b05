import Tensors
import Testing

@Suite struct PickTests {
    @Test func takesOneElementOfEachRow() {
        let x = Tensor.random([4, 5], seed: 3)
        #expect(x.picking([4, 0, 2, 2]).scalars == [4, 5, 12, 17].map { x.scalars[$0] })
        GradientCheck.check("pick", [x]) { $0[0].picking([4, 0, 2, 2]) }
    }

    @Test func maximumIsAlongTheLastAxis() {
        let x = Tensor([1, 3, 2, -4, -5, -4, 0, 0, 0], shape: [3, 1, 3])
        #expect(x.maximum().scalars == [3, -4, 0])
        #expect(x.maximum().shape == [3, 1])
        let many = Tensor.random([7, 40, 3], seed: 5)
        let rows = many.scalars
        #expect(many.maximum().scalars == (0..<280).map { rows[$0 * 3..<$0 * 3 + 3].max()! })
        GradientCheck.check("maximum", [many], step: 1e-3) { $0[0].maximum() }
    }

    @Test func theFirstOfEqualElementsGetsTheGradient() {
        var gradient: Tensor?
        let x = Tensor([2, 5, 5, 1, 1, 1], shape: [2, 3]).watched { gradient = $0 }
        x.maximum().backward(gradient: Tensor([10, 20], shape: [2]))
        #expect(gradient?.scalars == [0, 10, 0, 20, 0, 0])
    }

    @Test func whatIsNoNumberIsTheMaximum() {
        #expect(Tensor([1, .nan, 3, 2, 7, 9], shape: [2, 3]).maximum().scalars[0].isNaN)
        #expect(Tensor([.nan, 1, 3], shape: [1, 3]).maximum().scalars[0].isNaN)
    }
}
