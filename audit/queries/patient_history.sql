-- What happened around one patient, from the first event to the last?
--   patient: pseudonym of the patient
WITH asked AS (
    SELECT 'P-00000000000000000000000001' AS patient
)
SELECT sequence, recorded, agent, role, action, subject, outcome, study, model, verdict, confidence
FROM event
WHERE patient = (SELECT patient FROM asked)
ORDER BY sequence;
