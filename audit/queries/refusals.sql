-- What was refused or broke off, for which reason, and how often on that day?
--   since: from this time on, in UTC
--   until: before this time, in UTC
-- The reason stands in `body`, which is empty once it was moved to an archive.
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT
    substr(recorded, 1, 10) AS day,
    count(*) OVER (PARTITION BY substr(recorded, 1, 10)) AS on_that_day,
    sequence,
    recorded,
    outcome,
    action,
    agent,
    study,
    model,
    body
FROM event
WHERE
    outcome <> 'success'
    AND recorded >= (SELECT since FROM asked)
    AND recorded < (SELECT until FROM asked)
ORDER BY sequence;
