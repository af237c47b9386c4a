-- Who looked at a study, in which role, doing what, how often, and when first and last?
--   study: Study Instance UID
-- Those who looked at what the trail says about it are among them.
WITH asked AS (
    SELECT '1.2.826.0.1.3680043.8.498.1' AS study
)
SELECT
    agent,
    role,
    action,
    count(*) AS events,
    min(recorded) AS first_recorded,
    max(recorded) AS last_recorded
FROM event
WHERE study = (SELECT study FROM asked)
GROUP BY agent, role, action
ORDER BY min(sequence);
