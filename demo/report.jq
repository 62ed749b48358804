# report.jq: one seed's results -> its entry of report.json's "seeds".
def seed($identical; $cloud_kib):
    {source_only: .[0], teacher: .[1], head_refit: .[2],
     rounds: [.[3:][] | {target, new_concepts, relations, source, instances_seen, instances_uploaded,
                         uplink_bytes, raw_bytes, jpeg_bytes, delta_bytes, parameters_updated,
                         seconds}],
     identical: $identical,
     peak_mib: {edge: (.[-1].peak_kib / 1024 | round), cloud: ($cloud_kib / 1024 | round)}};
