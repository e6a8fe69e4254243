// Sites: whoever has a count of meters. The platform itself and its journals have none.
import "influxdata/influxdb/schema"

schema.tagValues(
    bucket: {{derived}},
    tag: "site",
    predicate: (r) => r._measurement == "indicator" and r.quantity == "meters_total",
    start: time(v: 0),
    stop: now(),
)
