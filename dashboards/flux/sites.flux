// Sites something is known of; the platform itself is none.
import "influxdata/influxdb/schema"

schema.tagValues(
    bucket: {{derived}},
    tag: "site",
    predicate: (r) => r._measurement == "indicator" and r.site != "tanyuan",
    start: time(v: 0),
    stop: now(),
)
