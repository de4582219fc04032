"""What lies cost, rule by rule: training under attack, with the project's own words, rules and division.

    python -m benchmarks.robustness [--quick] [--json] [--seeds N] [--only NAME ...] [--cache FILE] [--out DIR]
                                    [--peers-python PATH]

Trains on handwritten digits (scikit-learn), on 5,000 images of MNIST (`pip install foedus[robustness]`) and on the
heart-disease records of four hospitals, with 10 to 40 % liars, every attack of `attacks.ATTACKS`, IID and Dirichlet 1,
0.3 and 0.1, five seeds: beside the plain weighted mean, training in one place, and the best rules of ByzFL and Flower
(in an interpreter of their own, see `peers`; without it they are left out, and it is said). A cell is accuracy /
accuracy at the worst honest site, in per cent; `!` how many triggered samples get the liars' class. The whole takes
some twenty minutes of one processor, so it can be run by its parts (`--only`) with a file that keeps what is known
(`--cache`).
`--out` writes the tables as Markdown and as one SVG. With --json the last line is one object: `goals`, `tables`
{title: {rule: {attack: accuracy}}}, `mediswarm`, `skipped`, `seconds`.

`data` deals samples, `training` trains all participants at once, `attacks` lies, `federation` is one run, `study`
repeats it, `tables` prints.
"""
