-- Which models, with their adapters, answered; how often, for how many people, and from when until when?
--   since: from this time on, in UTC
--   until: before this time, in UTC
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT
    model,
    count(*) AS answers,
    count(DISTINCT agent) AS people,
    min(recorded) AS first_recorded,
    max(recorded) AS last_recorded,
    min(sequence) AS first_row,
    max(sequence) AS last_row
FROM event
WHERE
    action = 'answer'
    AND outcome = 'success'
    AND recorded >= (SELECT since FROM asked)
    AND recorded < (SELECT until FROM asked)
GROUP BY model
ORDER BY min(sequence);
