// Meters of a site that sent readings in the range.
import "influxdata/influxdb/schema"

schema.tagValues(
    bucket: {{bucket}},
    tag: "meter",
    predicate: (r) => r._measurement == "reading" and r.site == {{site}},
    start: time(v: 0),
    stop: now(),
)
