-- Who signed what, and which review was it that they signed?
--   since: from this time on, in UTC
--   until: before this time, in UTC
-- The meaning of the signature stands in `body`, which is empty once it was moved to an archive.
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT
    signature.sequence,
    signature.recorded,
    signature.agent,
    signature.role,
    signature.subject,
    review.sequence AS review_row,
    review.agent AS reviewer,
    review.verdict AS review_verdict,
    signature.body
FROM event AS signature
LEFT JOIN event AS review
    ON review.sequence = (
        SELECT max(earlier.sequence)
        FROM event AS earlier
        WHERE
            earlier.subject = signature.subject
            AND earlier.action = 'review'
            AND earlier.sequence < signature.sequence
    )
WHERE
    signature.action = 'sign'
    AND signature.recorded >= (SELECT since FROM asked)
    AND signature.recorded < (SELECT until FROM asked)
ORDER BY signature.sequence;
