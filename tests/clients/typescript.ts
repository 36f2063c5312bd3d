// Adds a job, waits for it, reads its log, adds a schedule and lists it, all by the client in
// `./client`, which is generated from docs/openapi.json.

import type { EnqueueRequest, LogEvent, ScheduleSpec } from './client';
import { addSchedule, enqueue, listSchedules, logs, wait } from './client';
import { client } from './client/client.gen';

declare const process: { env: Record<string, string>; exitCode: number };

function check(holds: boolean, found: unknown): void {
    if (!holds) throw new Error(`found ${JSON.stringify(found)}`);
}

async function main(): Promise<void> {
    client.setConfig({
        baseUrl: process.env.ORX_URL,
        auth: () => process.env.ORX_TOKEN,
        throwOnError: true,
    });

    const request: EnqueueRequest = {
        name: 'greet',
        args: ['any', { json: null }],
        command: { argv: ['echo', 'hello'] },
    };
    const { data: accepted } = await enqueue({ body: request, throwOnError: true });
    check(accepted.created, accepted);

    const path = { job: String(accepted.id) };
    const { data: awaited } = await wait({ path, query: { timeout_ms: 60_000 }, throwOnError: true });
    check(awaited.reached && awaited.job.status === 'completed', awaited);
    check(JSON.stringify(awaited.job.args) === JSON.stringify(request.args), awaited);

    // The log is a line of JSON for each event: the generator knows what to ask for and what an
    // event is.
    const { data: lines } = await logs({ path, parseAs: 'text', throwOnError: true });
    let text = '';
    let ended = 0;
    for (const line of String(lines).trimEnd().split('\n')) {
        const event: LogEvent = JSON.parse(line);
        if ('chunk' in event) text += event.chunk.data;
        if ('end' in event) ended = event.end.job.id;
    }
    check(text === 'hello\n' && ended === accepted.id, { text, ended });

    const spec: ScheduleSpec = {
        id: 'of-typescript',
        timing: { cron: '0 3 * * *' },
        job: { name: 'report' },
    };
    const { data: added } = await addSchedule({ body: spec, throwOnError: true });
    check(added.id === spec.id, added);
    const { data: page } = await listSchedules({ query: { limit: 500 }, throwOnError: true });
    const found = page.schedules.find((schedule) => schedule.id === spec.id);
    check(JSON.stringify(found?.spec.timing) === JSON.stringify(spec.timing), page);
    console.log(accepted.id);
}

main().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
});
