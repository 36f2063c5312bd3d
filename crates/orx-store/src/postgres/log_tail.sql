-- Returns the newest chunks before a cursor, and the number of newlines in each. Bytes are encoded as escaped
-- text: a newline stays one character, and a byte outside ASCII becomes several.
select attempt, seq, length(t.escaped) - length(replace(t.escaped, chr(10), ''))
from logs
cross join lateral (select encode(bytes, 'escape') as escaped) t
where job = :job
  and (attempt, seq) > (:after_attempt, :after_seq)
  and (attempt, seq) < (:before_attempt, :before_seq)
  and (:attempt is null or attempt = :attempt)
  and stream = any(:streams)
order by attempt desc, seq desc
limit :chunks
