-- Who read the trail, exported from it, or changed how it and the system are kept?
-- That is: keys, checkpoints, archives, upgrades, settings, roles.
--   since: from this time on, in UTC
--   until: before this time, in UTC
-- What was looked for or changed stands in `body`, which is empty once it was moved to an archive.
WITH asked AS (
    SELECT '2000-01-01' AS since, '9999-12-31' AS until
)
SELECT sequence, recorded, agent, role, action, outcome, study, patient, body
FROM event
WHERE
    action IN (
        'read_trail', 'export', 'rotate_key', 'checkpoint', 'archive', 'upgrade', 'configure', 'change_role'
    )
    AND recorded >= (SELECT since FROM asked)
    AND recorded < (SELECT until FROM asked)
ORDER BY sequence;
