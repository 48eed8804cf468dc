const datasetName = /^[A-Za-z][A-Za-z0-9_.-]*(\/[A-Za-z0-9][A-Za-z0-9_.-]*)*$/;
/** Names of what is below take up to 110 characters, of some 255. */
const maxChars = 120;

/** Whether a pool's volumes may lie below it: "tank/drover". */
export const isDatasetName = (text: string): boolean =>
  text.length <= maxChars && datasetName.test(text) && !/(^|\/)\.\.?(\/|$)/.test(text);
