# score.jq: cdcca-model's evaluations of the held-out target and source -> the report's groups.
def round2: . * 100 | round / 100;
def accuracy: {mc: (.mc | round2), da: (.da | round2)};
{target: ($target[0].five | accuracy),
 new_concepts: ($target[0].new_concepts | accuracy),
 source: ($source[0].five | accuracy)}
