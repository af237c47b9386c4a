-- Which doubtful answers did a reviewer agree with, or nobody review?
-- Doubtful: the picture hardly mattered for it (`image_blind`), or the model was unsure of its words.
--   least: confidence below which an answer is doubtful, from 0 to 1
--   since: answered from this time on, in UTC
--   until: answered before this time, in UTC
WITH asked AS (
    SELECT '0.5' AS least, '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT
    answer.sequence,
    answer.recorded,
    answer.agent,
    answer.subject,
    answer.model,
    answer.verdict,
    answer.confidence,
    review.agent AS agreed_by
FROM event AS answer
LEFT JOIN event AS review
    ON review.sequence = (
        SELECT max(later.sequence)
        FROM event AS later
        WHERE later.subject = answer.subject AND later.action = 'review'
    )
WHERE
    answer.action = 'answer'
    AND (answer.verdict = 'image_blind' OR answer.confidence < (SELECT CAST(least AS double precision) FROM asked))
    AND answer.recorded >= (SELECT since FROM asked)
    AND answer.recorded < (SELECT until FROM asked)
    AND (review.verdict IS NULL OR review.verdict = 'agree')
ORDER BY answer.sequence;
