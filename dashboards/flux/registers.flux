// Registers a meter sent in the range.
import "influxdata/influxdb/schema"

schema.fieldKeys(
    bucket: {{bucket}},
    predicate: (r) => r._measurement == "reading" and r.meter == ${meter:doublequote},
    start: time(v: 0),
    stop: now(),
)
  |> filter(fn: (r) => r._value !~ /^~/)
