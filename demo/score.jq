# score.jq: cdcca-model's evaluations of the held-out target and source -> the report's groups.
def round2: . * 100 | round / 100;
def accuracy: {mc: (.mc | round2), da: (.da | round2)};
# Relations and comparisons, the hardest kinds, are no part of "target": a group of their own.
def together: (map(.count) | add) as $n
    | if $n == 0 then null
      else {mc: (map(.mc * .count) | add / $n), da: (map(.da * .count) | add / $n)} | accuracy end;
{target: ($target[0].five | accuracy),
 relations: ([$target[0].relation, $target[0].compare] | together),
 new_concepts: ($target[0].new_concepts | accuracy),
 source: ($source[0].five | accuracy)}
