extension Graph {
    /// Rewrites the graph so that each node is one step.
    func optimize(threads: Int) {
        removeIdentities()
        takeSlicesEarly()
        makeProducts()
        foldFlattening()
        foldIntoProducts()
        bypassReshapes()
        foldAffinesForward()
        fuseActivations()
        fuseChannelShuffles()
        fuseResiduals()
        fuseActivations()
        fuseRowGathers()
        bypassReshapes()
        fusePrologues()
        fuseSqueezes(threads: threads)
        removeUnused()
    }
}
