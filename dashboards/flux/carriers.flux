// Carriers of which hours are known, with their unit, such as electricity:kWh.
import "influxdata/influxdb/schema"

schema.tagValues(
    bucket: {{derived}},
    tag: "about",
    predicate: (r) =>
        r._measurement == "indicator" and r.site == {{site}}
            and r.quantity =~ /^(energy_measured|energy_estimated)$/,
    start: time(v: 0),
    stop: now(),
)
