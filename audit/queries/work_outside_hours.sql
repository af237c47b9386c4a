-- Who used the system at night or on a weekend?
--   opens: start of the working day, in UTC
--   closes: its end, in UTC
--   since: from this time on, in UTC
--   until: before this time, in UTC
WITH asked AS (
    SELECT '07:00' AS opens, '19:00' AS closes, '2000-01-01' AS since, '9999-12-31' AS until
),
-- Years that begin in March put the leap day last, and so count days with whole numbers alone.
dated AS (
    SELECT
        sequence,
        recorded,
        agent,
        role,
        CAST(substr(recorded, 1, 4) AS integer) - (CASE WHEN substr(recorded, 6, 2) < '03' THEN 1 ELSE 0 END) AS year,
        (CAST(substr(recorded, 6, 2) AS integer) + 9) % 12 AS month,
        CAST(substr(recorded, 9, 2) AS integer) AS day
    FROM event
    WHERE recorded >= (SELECT since FROM asked) AND recorded < (SELECT until FROM asked)
),
-- From 0, Sunday, to 6, Saturday.
placed AS (
    SELECT
        sequence,
        recorded,
        agent,
        role,
        (365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day + 2) % 7 AS weekday
    FROM dated
)
SELECT
    substr(recorded, 1, 10) AS day,
    agent,
    role,
    count(*) AS events,
    min(substr(recorded, 12, 5)) AS first_time,
    max(substr(recorded, 12, 5)) AS last_time,
    min(sequence) AS first_row
FROM placed
WHERE
    weekday IN (0, 6)
    OR substr(recorded, 12, 5) < (SELECT opens FROM asked)
    OR substr(recorded, 12, 5) >= (SELECT closes FROM asked)
GROUP BY substr(recorded, 1, 10), agent, role
ORDER BY min(sequence);
