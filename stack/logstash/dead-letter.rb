# Keeps of a line that was refused its text, the reason and the time.
def filter(event)
  line = event.to_json
  reason = event.get("[@metadata][dead_letter_queue][reason]")
  event.to_hash.each_key { |key| event.remove(key) unless key == "@timestamp" }
  event.set("line", line)
  event.set("reason", reason)
  event.set("@timestamp", LogStash::Timestamp.now)
  [event]
end
