-- The rank of the priority: 0 for critical, higher for less important jobs. Coordinators of the release before
-- cannot use the store any longer, as since the table `dependencies` their leader could not.
alter table jobs rename column urgency to priority_rank;
