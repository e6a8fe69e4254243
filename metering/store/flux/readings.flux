// The readings of one register of a meter as they count, before the multiplier. A gap stays a gap.
// {{bucket}} {{start}} {{stop}} {{meter}} {{register}}
from(bucket: {{bucket}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "reading" and r.meter == {{meter}} and r._field == {{register}})
  |> group(columns: ["meter", "_field"])
  |> sort(columns: ["_time"])
  |> keep(columns: ["_time", "_value", "meter", "_field"])
