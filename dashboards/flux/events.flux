// What happened: findings, changes of the site, failed jobs, changed verdicts.
// {{derived}} {{start}} {{stop}} {{where}}
from(bucket: {{derived}})
  |> range(start: {{start}}, stop: {{stop}})
  |> filter(fn: (r) => r._measurement == "indicator" and ({{where}}) and r.quantity == "event")
  |> filter(fn: (r) => r._field == "text")
  |> group()
  |> map(fn: (r) => ({time: r._time, code: r.about, subject: r.subject, text: r._value}))
  |> sort(columns: ["time"], desc: true)
  |> limit(n: 500)
