# score.jq: two evaluations of cdcca-model (held-out target, held-out source) -> the report's groups.
# $source is [] where only the target was scored.
def round2: . * 100 | round / 100;
def accuracy: {mc: (.mc | round2), da: (.da | round2)};
{target: ($target[0].five | accuracy), new_concepts: ($target[0].new_concepts | accuracy)}
+ if $source == [] then {} else {source: ($source[0].five | accuracy)} end
