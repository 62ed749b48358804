# table.jq: what the demo prints: one row per round, and the summary over all seeds.

def pad($n): tostring | if length < $n then " " * ($n - length) + . else . end;
def padr($n): tostring | if length < $n then . + " " * ($n - length) else . end;
def fixed($digits): # 9.5 | fixed(2) == "9.50"
    pow(10; $digits) as $scale
    | (. * $scale | round) as $n
    | (if $n < 0 then "-" else "" end) as $sign
    | ($n | fabs) as $n
    | ($n / $scale | floor | tostring) as $whole
    | if $digits == 0 then $sign + $whole
      else $sign + $whole + "." + ($n % $scale | tostring | "0" * ($digits - length) + .) end;
def accuracy: if . == null then "-" else "\(.mc | fixed(1))/\(.da | fixed(1))" end;
def kb: . / 1000 | fixed(1);

# --- one round ---

def uploaded:
    "\(.instances_uploaded)/\(.instances_seen) \(100 * .instances_uploaded / .instances_seen | fixed(1))%";
def cost:
    (uploaded | pad(14))
    + ("\(.uplink_bytes | kb) (\(.raw_bytes / 1000 | fixed(0)), \(.jpeg_bytes / 1000 | fixed(0)))" | pad(23))
    + (.delta_bytes | kb | pad(10))
    + (8 * .delta_bytes / ([.parameters_updated, 1] | max) | fixed(2) | pad(6))
    + (.seconds | fixed(1) | pad(6));
def row:
    (.round // "-" | pad(5)) + (.target | accuracy | pad(14)) + (.new_concepts | accuracy | pad(14))
    + (.source | accuracy | pad(14)) + if .round then "  " + cost else "" end;
def head:
    "                                                                uplink KB (every image",
    "round  target MC/DA  new concepts  source MC/DA      uploaded     as raw, as JPEG)    delta KB  bits     s";

# --- all seeds ---

def mean: add / length;
def spread: mean as $m | if length < 2 then 0 else (map((. - $m) * (. - $m)) | add / (length - 1) | sqrt) end;
def figure: # [numbers] -> "81.2" or "81.2 ± 0.4"
    (mean | fixed(1)) + if length > 1 then " ± " + (spread | fixed(1)) else "" end;
def pair: # [{mc, da}] -> "81.2/74.0"
    if any(. == null) then "-" else "\(map(.mc) | figure) / \(map(.da) | figure)" end;
def gap($from; $to; $got; $key): # share of the gap recovered, percent
    if ($to[$key] - $from[$key]) == 0 then 0
    else 100 * ($got[$key] - $from[$key]) / ($to[$key] - $from[$key]) end;
def recovered($group; got): # [seeds] -> [{mc, da}]
    map(. as $s | (got)[$group] as $g
        | {mc: gap(.source_only[$group]; .teacher[$group]; $g; "mc"),
           da: gap(.source_only[$group]; .teacher[$group]; $g; "da")});
def last: .rounds[-1];
def line($name; $a; $b; $c): ($name | padr(22)) + ($a | pad(26)) + ($b | pad(26)) + ($c | pad(26));
def model($name; which):
    line($name; map(which.target) | pair; map(which.new_concepts) | pair; map(which.source) | pair);
def per_image($bytes; $count): # over all rounds of all seeds
    ([.[].rounds[][$bytes]] | add) / ([[.[].rounds[][$count]] | add, 1] | max) | fixed(0);
def per_parameter: [.[].rounds[] | 8 * .delta_bytes / ([.parameters_updated, 1] | max)] | mean;
def summary:
    .seeds
    | line("percent, MC / DA"; "target"; "new concepts"; "source"),
      model("source-only"; .source_only),
      model("output head re-fitted"; .head_refit),
      model("student, last round"; last),
      model("teacher"; .teacher),
      line("gap recovered, head"; recovered("target"; .head_refit) | pair;
           recovered("new_concepts"; .head_refit) | pair; ""),
      line("gap recovered, loop"; recovered("target"; last) | pair;
           recovered("new_concepts"; last) | pair; ""),
      "relations and comparisons, apart: source-only \(map(.source_only.relations) | pair), last round \(map(last.relations) | pair), teacher \(map(.teacher.relations) | pair)",
      "uplink: \(per_image("uplink_bytes"; "instances_uploaded")) bytes per uploaded instance; an image is \(per_image("jpeg_bytes"; "instances_seen")) bytes as JPEG, \(per_image("raw_bytes"; "instances_seen")) raw",
      "downlink: \(per_parameter | fixed(2)) bits per updated parameter",
      "peak memory: edge \(map(.peak_mib.edge) | max) MiB, cloud \(map(.peak_mib.cloud) | max) MiB",
      "edge and cloud hold the same parameters, to the bit: \(if all(.[]; .identical) then "yes" else "NO" end)";
