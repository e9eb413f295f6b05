extension EvaluationReport {
    /// The page's style sheet, light or dark as the reader's system is.
    static let style = """
        :root { color-scheme: light dark; --back: #f7f7f5; --card: #fff; --text: #1c1c1a; --quiet: #6b6b66;
          --rule: #e3e3de; --main: #2459b8; --right: #1a7f4b; --wrong: #c0392b; }
        @media (prefers-color-scheme: dark) { :root { --back: #161614; --card: #20201d; --text: #ecece7;
          --quiet: #9c9c95; --rule: #35352f; --main: #7aa7f0; --right: #4cc38a; --wrong: #f0786a; } }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--back); color: var(--text);
          font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
        main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; }
        h1 { font-size: 26px; font-weight: 650; margin: 0 0 12px; overflow-wrap: anywhere; }
        h2 { font-size: 19px; font-weight: 600; margin: 36px 0 8px; }
        h3 { font-size: 15px; font-weight: 600; margin: 0 0 6px; }
        p { margin: 0 0 10px; color: var(--quiet); }
        table { border-collapse: collapse; }
        th { text-align: left; font-weight: 400; color: var(--quiet); padding: 3px 20px 3px 0; vertical-align: top; }
        td { padding: 3px 0; overflow-wrap: anywhere; }
        .figures { width: 100%; }
        .figures td { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        .figures tr + tr { border-top: 1px solid var(--rule); }
        .headline { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 20px 0 0; }
        .headline div { display: flex; flex-direction: column; }
        .headline strong { font-size: 28px; font-weight: 600; font-variant-numeric: tabular-nums; }
        .headline span { color: var(--quiet); }
        .cards, .charts { display: grid; gap: 14px; align-items: start; }
        .cards { grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); }
        .charts { grid-template-columns: repeat(auto-fill, minmax(min(420px, 100%), 1fr)); }
        .card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 14px 16px; }
        svg { display: block; width: 100%; height: auto; }
        svg text { font-size: 12px; fill: var(--quiet); }
        .grid { stroke: var(--rule); stroke-width: 1; }
        .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
        .line.main { stroke: var(--main); }
        .line.chance { stroke: var(--quiet); stroke-width: 1.2; stroke-dasharray: 4 4; }
        .dot { fill: var(--main); }
        .area { fill-opacity: 0.3; stroke-width: 1.2; }
        .area.positive { fill: var(--right); stroke: var(--right); }
        .area.negative { fill: var(--wrong); stroke: var(--wrong); }
        .key.main { fill: var(--main); }
        .key.positive { fill: var(--right); }
        .key.negative { fill: var(--wrong); }
        .retrieval { display: flex; gap: 10px; overflow-x: auto; padding: 10px 0; border-top: 1px solid var(--rule); }
        figure { flex: none; width: 104px; margin: 0; }
        figure.query { margin-right: 12px; }
        figure img, .missing { display: block; width: 104px; height: 104px; border: 4px solid var(--rule);
          border-radius: 6px; background: var(--card); object-fit: contain; }
        figure.right img, figure.right .missing { border-color: var(--right); }
        figure.wrong img, figure.wrong .missing { border-color: var(--wrong); }
        .missing { background: #8a8a84; color: #fff; font-size: 11px; padding: 6px; overflow: hidden;
          overflow-wrap: anywhere; }
        figcaption { font-size: 12px; line-height: 1.35; margin-top: 4px; }
        figcaption span { display: block; overflow-wrap: anywhere; }
        figcaption span + span { color: var(--quiet); font-variant-numeric: tabular-nums; }
        figure.right figcaption span + span { color: var(--right); }
        figure.wrong figcaption span + span { color: var(--wrong); }
        """
}
