-- The newest chunks before a place, and the newlines in each.
select attempt, seq,
       (select count(*) from generate_series(0, octet_length(bytes) - 1) as t(place)
        where get_byte(bytes, place) = 10)
from logs
where job = :job
  and (attempt, seq) > (:after_attempt, :after_seq)
  and (attempt, seq) < (:before_attempt, :before_seq)
  and (:attempt is null or attempt = :attempt)
  and stream = any(:streams)
order by attempt desc, seq desc
limit :chunks
