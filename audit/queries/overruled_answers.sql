-- How often did reviewers overrule each model? Of several reviews of one answer, the last one counts.
--   since: reviewed from this time on, in UTC
--   until: reviewed before this time, in UTC
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
),
opinion AS (
    SELECT review.subject, review.verdict
    FROM event AS review
    WHERE
        review.action = 'review'
        AND review.recorded >= (SELECT since FROM asked)
        AND review.recorded < (SELECT until FROM asked)
        AND NOT EXISTS (
            SELECT 1
            FROM event AS later
            WHERE later.subject = review.subject AND later.action = 'review' AND later.sequence > review.sequence
        )
)
SELECT
    answer.model,
    count(*) AS reviewed,
    sum(CASE WHEN opinion.verdict = 'agree' THEN 1 ELSE 0 END) AS agreed,
    sum(CASE WHEN opinion.verdict = 'amend' THEN 1 ELSE 0 END) AS amended,
    sum(CASE WHEN opinion.verdict = 'reject' THEN 1 ELSE 0 END) AS rejected,
    round(100.0 * sum(CASE WHEN opinion.verdict = 'agree' THEN 0 ELSE 1 END) / count(*), 1) AS percent_overruled
FROM opinion
INNER JOIN event AS answer ON answer.subject = opinion.subject AND answer.action = 'answer'
GROUP BY answer.model
ORDER BY percent_overruled DESC, answer.model;
