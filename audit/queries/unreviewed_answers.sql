-- Which answers did nobody review?
--   since: answered from this time on, in UTC
--   until: answered before this time, in UTC
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT sequence, recorded, agent, subject, study, model, verdict, confidence
FROM event AS answer
WHERE
    action = 'answer'
    AND outcome = 'success'
    AND recorded >= (SELECT since FROM asked)
    AND recorded < (SELECT until FROM asked)
    AND NOT EXISTS (
        SELECT 1
        FROM event AS review
        WHERE review.subject = answer.subject AND review.action = 'review'
    )
ORDER BY sequence;
