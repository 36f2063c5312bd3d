-- The order of dispatch: 0 critical to 3 low.
alter table jobs rename column urgency to priority_rank;
